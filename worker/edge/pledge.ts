/**
 * A promise of this request that another one may resolve. What waits for it then goes on in this request (compatibility flag
 * `handle_cross_request_promise_resolution`), with its own I/O.
 *
 * Only this may make such a promise, and never `new Promise`. The runtime marks each promise with the request it belongs to, but
 * where V8's optimizing compiler makes the promise itself, as it does of `new Promise` and of async functions once they have run
 * often, the mark is missing (workerd, patches/v8/0006, js-create-lowering.cc). What waits for an unmarked one goes on in the
 * request that resolves it: its fetches and timers are then that one's, and its own request is ended with 500, as a hung one.
 */
export function createPledge<Value = void>(): PromiseWithResolvers<Value> {
  return Promise.withResolvers<Value>();
}
