/* common/cli/prompt.h: asking before something is done that cannot be undone. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

/*
 * Print WARNING and "Are you sure you want to continue? [y/N] " to stdout and read a line from stdin. 1: it begins with
 * y; 0: anything else; -ENODATA: there is no line to read, which podman's commands report as "EOF".
 */
int hoy_confirm(const char *warning);
/*
 * Let the user choose one of the N texts ITEMS on the terminal that stdin and OUT are: arrows (or j and k) and Enter. The
 * list goes away again, the choice stays. Its index, -ECANCELED (Ctrl-C) or -errno.
 */
int hoy_select(int out, const char *label, char *const *items, size_t n);
/*
 * Where to ask: stdout, if stdin and stdout are terminals; stderr, if another tool of the suite reads our stdout, and its own
 * is a terminal. -1: nobody is there.
 */
int hoy_prompt_fd(void);
/* For that tool: around starting us, ON before and off behind. */
void hoy_prompt_lend(bool on);
