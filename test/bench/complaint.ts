/** What whoever runs the benchmark can mend: printed as it is, without a stack. */
export class Complaint extends Error {
  override readonly name = "Complaint";
}
