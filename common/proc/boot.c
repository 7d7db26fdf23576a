#include "common/proc/boot.h"

#include <fcntl.h>
#include <string.h>

#include "common/base/fd.h"

const char *hoy_boot_id(void)
{
	static char id[64];

	if (!id[0] && hoy_read_small(AT_FDCWD, "/proc/sys/kernel/random/boot_id", id, sizeof(id)) <= 0)
		strcpy(id, "unknown");
	return id;
}
