/* cmd-runtime/dbus.h: as much of D-Bus as asking systemd for a scope takes; a static executable can load no library for it. */
#pragma once
#include "cmd-runtime/runtime.h"

struct dbus {
	int fd;
	uint32_t serial;
	struct hoy_buf in; /* what came and was not looked at yet */
};
#define DBUS_INIT { .fd = -1, .in = HOY_BUF_INIT(2 << 20) }

/* A message in the making. Values are appended in the order of the signature, each aligned as its type demands. */
struct dbus_out {
	struct hoy_buf body;
	const char *path, *interface, *member, *to, *signature;
};
#define DBUS_OUT_INIT { .body = HOY_BUF_INIT(1 << 20) }
void dbus_u32(struct dbus_out *m, uint32_t v);
void dbus_u64(struct dbus_out *m, uint64_t v);
void dbus_string(struct dbus_out *m, const char *s); /* also an object path */
void dbus_signature(struct dbus_out *m, const char *s);
/* An array whose elements are aligned to ALIGN; the result is for dbus_end_array(). */
size_t dbus_array(struct dbus_out *m, size_t align);
void dbus_end_array(struct dbus_out *m, size_t mark, size_t align);
void dbus_align(struct dbus_out *m, size_t align); /* 8: a structure begins */

/* Connect to ADDRESS ("unix:path=...;..."), prove who we are and say Hello. 0 or -errno. */
int dbus_connect(struct dbus *d, const char *address, struct hoy_err *err);
/*
 * Call and wait for the answer. 0, and *RET (may be NULL) is the first string or object path of it, the caller's to free;
 * -errno: what the other side complained of is in ERR, and its error name in ERRNAME (may be NULL; 128 bytes).
 */
int dbus_call(struct dbus *d, struct dbus_out *m, char **ret, char *errname, struct hoy_err *err);
/* Wait for the JobRemoved signal of JOB: 0 if it was done, else -errno. */
int dbus_wait_job(struct dbus *d, const char *job, struct hoy_err *err);
void dbus_release(struct dbus *d);
