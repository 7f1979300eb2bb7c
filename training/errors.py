"""What the training job refuses to go on with."""


class TrainingError(Exception):
    """A condition a user can mend; the job ends with its message and no traceback."""


class DataError(TrainingError):
    """A data file is missing, damaged or not the published one."""
