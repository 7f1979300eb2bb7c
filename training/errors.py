"""The errors that end a training job."""


class TrainingError(Exception):
    """A condition that the user can fix; the job ends with its message and no traceback."""


class DataError(TrainingError):
    """A data file is missing, damaged or not the published one."""
