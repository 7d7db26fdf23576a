/* common/proc/dbus.h: as much of D-Bus as asking systemd for a scope takes; a static executable can load no library for it. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"

struct hoy_err;

struct hoy_dbus {
	int fd;
	uint32_t serial;
	bool direct; /* no bus between us and whom we talk to */
	struct hoy_buf in; /* what came and was not looked at yet */
};
#define HOY_DBUS_INIT { .fd = -1, .in = HOY_BUF_INIT(2 << 20) }

/* A message in the making. Values are appended in the order of the signature, each aligned as its type demands. */
struct hoy_dbus_out {
	struct hoy_buf body;
	const char *path, *interface, *member, *to, *signature;
};
#define HOY_DBUS_OUT_INIT { .body = HOY_BUF_INIT(1 << 20) }
void hoy_dbus_u32(struct hoy_dbus_out *m, uint32_t v);
void hoy_dbus_u64(struct hoy_dbus_out *m, uint64_t v);
void hoy_dbus_string(struct hoy_dbus_out *m, const char *s); /* also an object path */
void hoy_dbus_signature(struct hoy_dbus_out *m, const char *s);
/* An array whose elements are aligned to ALIGN; the result is for hoy_dbus_end_array(). */
size_t hoy_dbus_array(struct hoy_dbus_out *m, size_t align);
void hoy_dbus_end_array(struct hoy_dbus_out *m, size_t mark, size_t align);
void hoy_dbus_align(struct hoy_dbus_out *m, size_t align); /* 8: a structure begins */

/* Connect to ADDRESS ("unix:path=...;..."), prove who we are and say Hello. 0 or -errno. */
int hoy_dbus_connect(struct hoy_dbus *d, const char *address, struct hoy_err *err);
/*
 * Call and wait for the answer. 0, and *RET (may be NULL) is the first string or object path of it, the caller's to free;
 * -errno: what the other side complained of is in ERR, and its error name in ERRNAME (may be NULL; 128 bytes).
 */
int hoy_dbus_call(struct hoy_dbus *d, struct hoy_dbus_out *m, char **ret, char *errname, struct hoy_err *err);
/* Wait for the JobRemoved signal of JOB: 0 if it was done, else -errno. */
int hoy_dbus_wait_job(struct hoy_dbus *d, const char *job, struct hoy_err *err);
void hoy_dbus_release(struct hoy_dbus *d);

/* ---- systemd, by the system's bus or, for an ordinary user, in a user namespace of his too, by his session's ---- */

/* A message to its manager. */
struct hoy_dbus_out hoy_systemd_message(const char *member, const char *signature);
/* Connect, and be told of jobs that end, as hoy_dbus_wait_job() needs it. 0 or -errno. */
int hoy_systemd_connect(struct hoy_dbus *d, struct hoy_err *err);
/* Properties "(sv)" of a unit. */
void hoy_systemd_property(struct hoy_dbus_out *m, const char *name, const char *type); /* its value follows */
void hoy_systemd_property_string(struct hoy_dbus_out *m, const char *name, const char *value);
void hoy_systemd_property_bool(struct hoy_dbus_out *m, const char *name, bool value);
void hoy_systemd_property_pid(struct hoy_dbus_out *m, int pid);
/* Put PID into the new scope UNIT in SLICE. 0 or -errno. */
int hoy_systemd_adopt(const char *slice, const char *unit, int pid, struct hoy_err *err);
