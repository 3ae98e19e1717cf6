"""The command line: `mlpasses run|plan|check|…`. One module a command, imported when it is called; see docs/cli.md."""
