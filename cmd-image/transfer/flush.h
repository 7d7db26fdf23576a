#pragma once

#include <pthread.h>
#include <stdbool.h>

#include "common/base/err.h"

/* Brings a file system's data to the disk while more of it is being written, so that the sync at the end finds little to do. */
struct flush {
	int fd;
	int stop; /* an eventfd; -1: no thread runs */
	int error;
	pthread_t thread;
};

/* Begin to flush the file system of FD, which stays the caller's and open until flush_end(). Without a thread to be had, all
 * is left to flush_end(). */
void flush_begin(struct flush *f, int fd);

/* End the flushing and, if SYNC, wait until everything written so far is on the disk. 0 or a negative errno with ERR set: also
 * when a flush on the way had failed, since the kernel reports a lost page only once. */
int flush_end(struct flush *f, bool sync, struct hoy_err *err);
