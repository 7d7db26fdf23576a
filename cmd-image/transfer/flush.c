#include "cmd-image/transfer/flush.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/base/fd.h"

/* The pause between two flushes, in milliseconds: 50 to 150 measured the same, from 250 on the last sync grows again. */
#define PAUSE 100

static void *flusher(void *arg)
{
	struct flush *f = arg;
	struct pollfd stop = { f->stop, POLLIN, 0 };

	while (!poll(&stop, 1, PAUSE))
		if (syncfs(f->fd) < 0 && !f->error)
			f->error = errno;
	return NULL;
}

void flush_begin(struct flush *f, int fd)
{
	*f = (struct flush){ .fd = fd, .stop = eventfd(0, EFD_CLOEXEC) };
	if (f->stop >= 0 && pthread_create(&f->thread, NULL, flusher, f)) {
		hoy_close(f->stop);
		f->stop = -1;
	}
}

int flush_end(struct flush *f, bool sync, struct hoy_err *err)
{
	if (f->stop >= 0) {
		eventfd_write(f->stop, 1);
		pthread_join(f->thread, NULL);
		hoy_close(f->stop);
	}
	if (sync && !f->error && syncfs(f->fd) < 0)
		f->error = errno;
	return sync && f->error ? hoy_fail_errno(err, f->error, "cannot sync the store") : 0;
}
