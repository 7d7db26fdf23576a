/* common/conf/dirs.h: who the user is and where that user's files are, at the places that podman uses. */
#pragma once
#include <stdbool.h>
#include <sys/types.h>

/*
 * Is the person in front of us an ordinary user? Decided by the uid outside of the user namespace that we
 * ourselves entered (exported as _CONTAINERS_ROOTLESS_UID across it, as podman does); cached.
 */
bool hoy_rootless(void);
/* That uid: geteuid() outside of our own namespace. */
uid_t hoy_rootless_uid(void);
gid_t hoy_rootless_gid(void);
/* In a user namespace with all capabilities, or plain root? (So: may we mount?) */
bool hoy_in_userns(void);

/* Each in new memory; NULL without memory. */
char *hoy_home(void);	     /* $HOME, else from passwd */
char *hoy_config_home(void); /* $XDG_CONFIG_HOME or ~/.config */
char *hoy_data_home(void);   /* $XDG_DATA_HOME or ~/.local/share */
/* $XDG_RUNTIME_DIR, else /run/user/UID if it is ours and 0700, else $TMPDIR/storage-run-UID (made 0700); root: /run. */
char *hoy_runtime_dir(void);
/* PATH with $UID, $HOME and other $VARs replaced. */
char *hoy_expand_path(const char *path);
