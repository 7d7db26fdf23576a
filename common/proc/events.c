#include "common/proc/events.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "common/base/fd.h"
#include "common/data/json.h"
#include "common/data/time.h"

static void line(struct hoy_buf *b, const struct hoy_event *e)
{
	struct hoy_jw w = hoy_jw_on(b, NULL);
	char now[HOY_TIME_SIZE];

	hoy_jw_object(&w, NULL);
	if (e->exit_code >= 0)
		hoy_jw_int(&w, "ContainerExitCode", e->exit_code);
	hoy_jw_string_opt(&w, "ID", e->id);
	hoy_jw_string_opt(&w, "Image", e->image);
	hoy_jw_string_opt(&w, "Name", e->name);
	hoy_jw_string(&w, "Status", e->status);
	hoy_jw_string(&w, "Time", hoy_time_local(hoy_now(), now));
	hoy_jw_string(&w, "Type", e->type);
	hoy_jw_string_opt(&w, "health_status", e->health);
	if (e->failing_streak)
		hoy_jw_int(&w, "health_failing_streak", e->failing_streak);
	hoy_jw_null(&w, "Attributes");
	hoy_jw_end_object(&w);
	hoy_buf_putc(b, '\n');
}

int hoy_event_write(const char *path, const struct hoy_event *e)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(1 << 16);
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	cleanup_fd int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0700);
	cleanup_free char *dir = NULL;

	if (fd < 0 && errno == ENOENT && (dir = strdup(path)) && strrchr(dir, '/')) {
		*strrchr(dir, '/') = '\0';
		hoy_mkdir_p(dir, 0700);
		fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0700);
	}
	if (fd < 0)
		return -errno;
	line(&b, e);
	if (b.error)
		return -b.error;
	while (fcntl(fd, F_OFD_SETLKW, &lock) < 0)
		if (errno != EINTR)
			return -errno;
	return write(fd, b.data, b.len) == (ssize_t)b.len ? 0 : -EIO;
}
