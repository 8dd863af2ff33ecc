# SPDX-License-Identifier: MIT
"""The few exceptions of art-spiking; each says what was asked, found and accepted, and what to do."""

from __future__ import annotations


class ArtSpikingError(Exception):
    """An error that a user can act on.

    Attributes hold the parts of the message, so that programs need not parse it.
    """

    def __init__(
        self,
        what: str,
        *,
        asked: object = None,
        found: object = None,
        accepted: object = None,
        remedy: str | None = None,
    ) -> None:
        """Builds the message from its parts; a part that is None is left out."""
        self.what = what
        self.asked = asked
        self.found = found
        self.accepted = accepted
        self.remedy = remedy
        super().__init__(self._message())

    def __str__(self) -> str:
        """The message; the operating system's errors would format it as an errno."""
        return self._message()

    def _message(self) -> str:
        parts = [self.what]
        for label in ("asked", "found", "accepted"):
            value = getattr(self, label)
            if value is not None:
                parts.append(f"{label}: {value}")
        if self.remedy is not None:
            parts.append(self.remedy)
        return "; ".join(parts)

    def __reduce__(self) -> tuple[object, ...]:
        """Pickles by parts: the default would pass the message alone to the constructor."""
        return (_rebuild, (type(self), self.__dict__.copy()))


def _rebuild(kind: type[ArtSpikingError], parts: dict[str, object]) -> ArtSpikingError:
    error = kind.__new__(kind)
    error.__dict__.update(parts)
    Exception.__init__(error, error._message())
    return error


class InvalidInput(ArtSpikingError, ValueError):
    """An array, a label, a budget or an option that does not fit what was declared."""


class InvalidModel(ArtSpikingError, ValueError):
    """A model file or graph that cannot be read, is not supported, or is not safe to read."""


class UnknownName(ArtSpikingError, LookupError):
    """A name that no provider registered."""


class PluginError(ArtSpikingError):
    """A plugin that cannot be loaded, or two providers of one name."""


class MissingData(ArtSpikingError, FileNotFoundError):
    """A data file that is absent or truncated."""


class CannotWrite(ArtSpikingError, OSError):
    """A file that cannot be written: a full disk, no permission; what was there before is untouched."""


class MissingDependency(ArtSpikingError, ImportError):
    """An optional package that is not installed; the remedy is the exact pip line."""


class InvalidSubmission(ArtSpikingError, ValueError):
    """A leaderboard submission with one or more problems."""


class DifferentTimeStep(UserWarning):
    """A model with time constants is run at another length of a step than it was made for."""


class SemanticsNotStated(UserWarning):
    """A file leaves open what its neurons do in discrete time, and nothing else stated it."""
