"""The edge measured beside the programs it stands in for, in one run; asserts nothing about speed."""
