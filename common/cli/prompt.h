/* common/cli/prompt.h: asking before something is done that cannot be undone. */
#pragma once
#include <stddef.h>

/*
 * Print WARNING and "Are you sure you want to continue? [y/N] " to stdout and read a line from stdin. 1: it begins with
 * y; 0: anything else; -ENODATA: there is no line to read, which podman's commands report as "EOF".
 */
int hoy_confirm(const char *warning);
/*
 * Let the user choose one of the N texts ITEMS on the terminal that stdin and stdout are: arrows (or j and k) and Enter. The
 * list goes away again, the choice stays. Its index, -ECANCELED (Ctrl-C) or -errno.
 */
int hoy_select(const char *label, char *const *items, size_t n);
