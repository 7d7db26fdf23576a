/* cmd-build/chroot_in.h: between the parts of the isolation chroot: what happens in the child, who can only give up. */
#pragma once
#include "cmd-build/chroot.h"

/* The last thing that the child says: that it cannot WHAT, and errno. */
__attribute__((noreturn)) void chroot_give_up(const char *what, const char *which);
/* C's root with all that is mounted in it becomes ours. OWN_PIDS: we have a pid namespace of our own. */
void chroot_enter(const struct chroot_cmd *c, bool own_pids);
