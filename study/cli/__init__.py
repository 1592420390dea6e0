"""The command line: `l3study VERB`."""

from study.cli.starting import main as main
