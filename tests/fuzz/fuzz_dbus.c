/* What a bus sends us: whole messages, or pieces of some, in which nothing is read that is not there. */
#include <stdint.h>
#include <stdlib.h>

#include "common/proc/dbus.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct hoy_buf in = HOY_BUF_INIT(1 << 20);
	struct message m;

	/* Memory of just that size: one byte more is a finding. */
	hoy_buf_add(&in, data, size);
	if (size && parse(&in, &m) > 0) {
		size_t at = m.body;
		uint32_t id;

		if (m.len > size || m.body > m.len)
			abort();
		if (get_u32(&m, &at, &id))
			while (get_string(&m, &at))
				;
		if ((m.member && strlen(m.member) > size) || (m.error && strlen(m.error) > size))
			abort();
	}
	hoy_buf_release(&in);
	return 0;
}
