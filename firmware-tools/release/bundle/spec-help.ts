// The specification of a release, as --help explains it; bundle-spec.ts decodes it.

export const SPEC_HELP = `
SPEC is a TOML file; its paths are relative to its own folder:

  component = "digits"
  version = "1.1.0"                     # SemVer
  description = "handwritten digits, int8"
  hardware = ["x86-64-generic"]         # hardware ids that may run it
  model = "digits-1.1.0.int8.onnx"      # inputs and outputs are read from the model

  [[files]]                             # optional, any number: carried beside the model
  path = "labels.txt"
  role = "labels"                       # labels | other (default)

  [classifier]                          # optional; lets devices watch classes and confidence
  output = "logits"
  scale = "logits"                      # logits | probabilities
  labels = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]

  [ranges.image]                        # optional, by input name: requests outside are refused
  min = 0.0
  max = 1.0

  [probes]                              # golden probes: inputs here, answers recorded at build
  inputs = "probes.npy"                 # first axis: one probe each (1..64);
                                        # several inputs: { a = "a.npy", b = "b.npy" }
  absolute = 0.001                      # |got - golden| <= absolute + relative * |golden|
  relative = 0.001

  [[comparisons]]                       # optional: how devices compare answers with the old
  output = "logits"                     # release's; derived from labels, names and shapes where
  kind = "class"                        # left out. class | scores | vector | value | boxes |
                                        # sequence | none

  [evaluation]                          # optional: how far answers differ from older releases
  inputs = "evaluation.npy"             # is measured on these; at least 300, as [probes] inputs
  against = ["digits-1.0.0.bundle"]     # and those of --against

  [contract]
  peak_memory_mib = 200
  p99_latency_ms = 50

  [lineage]
  training_data_sha256 = "<64 hex>"
  source_commit = "0123abc"             # or "unknown" (default)
  base_model = { name = "digits fp32", file = "digits-1.1.0.onnx" }   # or sha256 = "..."
  quantization = "quantize.json"        # from \`linnet model quantize --report\``;
