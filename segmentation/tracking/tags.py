"""The names of the tags that a run has."""

#: Why a run failed, or was stopped.
FAILURE = "failure"
