"""The command line: `l3study VERB`."""

from study.cli.app import main as main
