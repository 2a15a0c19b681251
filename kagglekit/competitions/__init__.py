"""What a competition is, and the plugins that describe one."""
