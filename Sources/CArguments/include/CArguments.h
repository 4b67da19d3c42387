// The words of the command line, as the system gave them to this process.
#ifndef CARGUMENTS_H
#define CARGUMENTS_H

// The program's name first; their number is put into `count`.
char *const *sheaf_arguments(int *count);

#endif
