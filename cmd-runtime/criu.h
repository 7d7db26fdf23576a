/*
 * cmd-runtime/criu.h: CRIU asked to dump or restore processes, by its own protocol: `criu swrk FD` reads one message of
 * protocol buffers from a socket and answers. Its library does no more, and a static executable could not load it.
 */
#pragma once
#include "cmd-runtime/runtime.h"

enum criu_type { CRIU_DUMP = 1, CRIU_RESTORE = 2, CRIU_PRE_DUMP = 4, CRIU_FEATURES = 9 };

/* Fields of CRIU's options, by their numbers in rpc.proto. */
enum criu_field {
	CRIU_IMAGES_DIR_FD = 1, CRIU_PID = 2, CRIU_LEAVE_RUNNING = 3, CRIU_EXT_UNIX_SK = 4, CRIU_TCP_ESTABLISHED = 5,
	CRIU_SHELL_JOB = 7, CRIU_FILE_LOCKS = 8, CRIU_LOG_LEVEL = 9, CRIU_LOG_FILE = 10, CRIU_PAGE_SERVER = 11, CRIU_NOTIFY_SCRIPTS = 12,
	CRIU_ROOT = 13, CRIU_PARENT_IMG = 14, CRIU_TRACK_MEM = 15, CRIU_AUTO_DEDUP = 16, CRIU_WORK_DIR_FD = 17, CRIU_LINK_REMAP = 18,
	CRIU_EXT_MNT = 23, CRIU_MANAGE_CGROUPS = 24, CRIU_CG_ROOT = 25, CRIU_RST_SIBLING = 26, CRIU_INHERIT_FD = 27,
	CRIU_CGROUPS_MODE = 34, CRIU_EXTERNAL = 37, CRIU_EMPTY_NS = 38, CRIU_JOIN_NS = 39, CRIU_FREEZE_CGROUP = 44,
	CRIU_TCP_SKIP_IN_FLIGHT = 46, CRIU_ORPHAN_PTS_MASTER = 50, CRIU_CONFIG_FILE = 51, CRIU_TCP_CLOSE = 52, CRIU_LSM_PROFILE = 53,
	CRIU_LSM_MOUNT_CONTEXT = 63, CRIU_NETWORK_LOCK = 64,
};

struct criu {
	struct hoy_buf opts;  /* options as they are sent */
	int inherit[8];	      /* descriptors that CRIU gets under their numbers; they stay the caller's */
	size_t ninherit;
	/* answers */
	pid_t pid;	/* the restored process, our child */
	int master;	/* the restored terminal's, or -1 */
	bool mem_track; /* of CRIU_FEATURES */
};
#define CRIU_INIT { .opts = HOY_BUF_INIT(1 << 20), .master = -1 }

/* Append to an option or message. */
void criu_number(struct hoy_buf *b, unsigned field, uint64_t v);
void criu_flag(struct hoy_buf *b, unsigned field, bool v); /* false is left out */
void criu_text(struct hoy_buf *b, unsigned field, const char *s); /* NULL is left out */
void criu_pair(struct hoy_buf *b, unsigned field, const char *one, const char *two); /* a message of two strings, 1 and 2 */
void criu_message(struct hoy_buf *b, unsigned field, const struct hoy_buf *m);
/* Let CRIU have FD as what KEY names in its images. */
int criu_inherit(struct criu *c, int fd, const char *key, struct hoy_err *err);

/* Run CRIU and wait for its answer. 0, or -errno with its reason, which its log tells in full. */
int criu_call(struct criu *c, enum criu_type type, struct hoy_err *err);
void criu_release(struct criu *c);
