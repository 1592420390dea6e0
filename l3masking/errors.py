"""The two ways in which a run can be refused. Both carry one line that names the value, the place and the mend."""


class InputError(ValueError):
    """Wrong input: a setting, a space file, a dataset or a text. The command line exits with 2."""


class EnvironmentFault(RuntimeError):
    """Something outside the input is missing: a network, a model, a device. The command line exits with 3."""
