/* Start of a program on a bare Cortex-M: vectors, memory, the FPU if there is one. */
#include <stdint.h>
#include <string.h>

#include "semihosting.h"

extern char stack_top[], data_begin[], data_end[], data_image[], bss_begin[], bss_end[];
int main(void);

static void end(void) { semihosting(0x18, (const void *)0x20026); } /* SYS_EXIT */

static void fault(void) {
    print("fault\n");
    end();
    for (;;)
        ;
}

static void start(void) {
#if defined(__ARM_FP)
    *(volatile uint32_t *)0xe000ed88 |= 15u << 20; /* CPACR: coprocessors 10 and 11 */
    __asm__ volatile("dsb\n isb");
#endif
    memcpy(data_begin, data_image, (size_t)(data_end - data_begin));
    memset(bss_begin, 0, (size_t)(bss_end - bss_begin));
    main();
    end();
    for (;;)
        ;
}

typedef struct vectors {
    char *stack;
    void (*handler[15])(void);
} vectors;

__attribute__((section(".vectors"), used)) static const vectors table = {
    stack_top, {start, fault, fault, fault, fault, fault}};
