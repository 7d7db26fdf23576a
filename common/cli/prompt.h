/* common/cli/prompt.h: asking before something is done that cannot be undone. */
#pragma once

/*
 * Print WARNING and "Are you sure you want to continue? [y/N] " to stdout and read a line from stdin. 1: it begins with
 * y; 0: anything else; -ENODATA: there is no line to read, which podman's commands report as "EOF".
 */
int hoy_confirm(const char *warning);
