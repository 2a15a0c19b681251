"""The one exception that means "the user can fix this"."""


class UserError(Exception):
    """Something the user can fix; printed as one line: what is wrong, the value, what cures it."""


class OwnError(UserError):
    """Of several processes that make a run, only this one knows of it: it must say so itself."""


class PluginError(UserError):
    """A plugin broke its contract; the message names the plugin and the hook."""
