"""What a program holds: the bridge to the reactor's thread, sessions, jobs, futures, the protocol of views."""
