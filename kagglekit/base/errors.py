"""Exceptions that mean "the user can fix this"."""


class UserError(Exception):
    """An error that the user can fix; printed as one line: what is wrong, the value, the cure."""


class OwnError(UserError):
    """An error that only this one of several processes knows about, and so must report."""


class PluginError(UserError):
    """A plugin broke its contract; the message names the plugin and the hook."""
