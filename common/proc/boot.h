/* common/proc/boot.h: which boot of the machine this is. */
#pragma once

/* The kernel's random boot id, "unknown" where it can't be read; static. The first call must not race with another. */
const char *hoy_boot_id(void);
