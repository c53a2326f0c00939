"""Ten things that happen to an edge, and what ``edgesbc why`` says of each: the page docs/why.md is made of a run."""
