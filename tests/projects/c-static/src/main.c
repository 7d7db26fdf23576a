#include <stdio.h>

#include "parts.h"

int main(void)
{
	printf("static %s of %d parts\n", VERSION, parts());
	return 0;
}
