/* What the C library of a later system has; never run, only linked against by needs_newer_libc.c. */
int from_the_future(void) { return 0; }
