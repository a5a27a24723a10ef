declare module "siphash" {
  const SipHash: {
    /** SipHash-2-4. The key is four 32-bit words, the result the high and low half of 64 bits. */
    hash(key: readonly number[], message: string | Uint8Array): { readonly h: number; readonly l: number };
  };
  export default SipHash;
}
