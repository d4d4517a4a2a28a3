"""Whether sessions, paths and maps are as planned: looks at a machine, and pure judgements."""
