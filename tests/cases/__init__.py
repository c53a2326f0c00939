"""Ten cases, and what ``edgesbc why`` prints for each; docs/how_to_guides/why.md is generated from a run."""
