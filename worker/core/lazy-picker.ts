import type { BackendId } from "../../durable/model/names.ts";
import type { PickContext, Picker } from "./policies/policy.ts";

/** A picker that is prepared when it is first asked: a table takes its time and its room, and a tier in reserve rests. */
export class LazyPicker implements Picker {
  readonly #prepare: () => Picker;
  #picker: Picker | null = null;

  constructor(prepare: () => Picker) {
    this.#prepare = prepare;
  }

  pick(context: PickContext): BackendId | null {
    this.#picker ??= this.#prepare();
    return this.#picker.pick(context);
  }
}
