/* A library that dies as one built for another CPU does: while it is being opened. */
#include <signal.h>

__attribute__((constructor)) static void crash(void) { raise(SIGILL); }
