/* common/cli/call.h: another tool of the suite, called as this one was. */
#pragma once

struct hoy_buf;
/* Run TOOL with our global options and WORDS (NULL-terminated); its stdout into OUT if that is given. Exit status or -errno. */
int hoy_call_tool(const char *tool, const char *const *words, struct hoy_buf *out);
