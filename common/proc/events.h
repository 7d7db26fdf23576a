/*
 * common/proc/events.h: podman's events.log: one JSON line per event, appended in one write under the file's lock.
 */
#pragma once
#include <stdint.h>

struct hoy_event {
	const char *type;   /* "container", "image", "network", "volume" */
	const char *status; /* "create", "start", "died", ... */
	const char *id, *name, *image;
	int exit_code;	    /* -1: none */
	const char *health; /* of a health_status */
	int64_t failing_streak;
};

/* Append to PATH (made 0700 with its directory if missing); 0 or -errno. Nobody fails because of an event. */
int hoy_event_write(const char *path, const struct hoy_event *e);
