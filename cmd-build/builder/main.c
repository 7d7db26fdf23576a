/* cmd-build/builder/main.c: hoy-builder, the heavy half of hoy-build: what needs digests or archives. */
#include <stddef.h>

#include "cmd-build/builder/builder.h"

int main(int argc, char **argv)
{
	static const struct hoy_verb *const verbs[] = { &verb_copy, &verb_checksum, &verb_name, &verb_hash, &verb_mkdir, &verb_unpack, NULL };

	return hoy_tool_main("hoy-builder", "Carries out the steps of a build: the heavy half of hoy-build", verbs, argc, argv);
}
