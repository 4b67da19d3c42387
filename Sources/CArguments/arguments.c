#include "CArguments.h"

static int count;
static char *const *words;

// Swift tells them as texts, which are UTF-8 and so not what they were, and takes them from /proc, where there may be
// none, and where those of the loader stand beside ours if that was called by its name. The GNU C library gives them to
// each function that runs before main.
__attribute__((constructor)) static void keep(int argc, char *const *argv) {
  count = argc;
  words = argv;
}

char *const *sheaf_arguments(int *number) {
  *number = count;
  return words;
}
