/* cmd-hoy/completion.h: `completion SHELL`: the script by which a shell asks `hoy __complete`. */
#pragma once

/* ARGV: "completion", its options and the shell. The exit status. */
int completion(int argc, char **argv);
