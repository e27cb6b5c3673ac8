// The specification of an acceptance set, as --help explains it; acceptance.ts decodes it.

export const ACCEPTANCE_HELP = `
SPEC is a TOML file; its paths are relative to its own folder:

  component = "digits"
  least = 0.95                          # what the metric must reach
  batch_axis = true                     # false: the model takes samples without a first axis of 1

  [inputs]                              # a .npy file by input name; first axis: one sample each
  image = "quality.npy"

Metric accuracy, of a classifier (above the tables):
  labels = "quality-labels.npy"         # integers: places in names
  names = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]

Or metric agreement (1 less the mean difference from these outputs):
  comparisons = [{ output = "y", kind = "value", scale = 10 }]
  [outputs]
  y = "right-answers.npy"`;
