/* A library that ends the process while it is being opened, and claims to have run a model. */
#include <stdio.h>
#include <stdlib.h>

__attribute__((constructor)) static void leave(void) {
  puts("ran a small model");
  exit(0);
}
