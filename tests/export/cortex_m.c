/* A program for a Cortex-M core without an operating system: what runs before main, and semihosting in the place of one.
   It prints the bytes of stack that the program took and ends with its result. */
#include <stdint.h>
#include <string.h>

extern uint32_t data_from[], data_to[], data_end[], bss_start[], bss_end[], stack_top[];
int main(void);
void begin(void);
static void stopped(void);

__attribute__((section(".vectors"), used)) static void *const vectors[] = {
    stack_top, (void *)begin,   (void *)stopped, (void *)stopped, (void *)stopped, (void *)stopped, (void *)stopped, 0, 0,
    0,         0,               (void *)stopped, (void *)stopped, 0,               (void *)stopped, (void *)stopped};

static void ask(int what, const void *about)
{
    register int r0 __asm__("r0") = what;
    register const void *r1 __asm__("r1") = about;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
}

static void end(uint32_t code)
{
    const uint32_t block[2] = {0x20026, code};
    ask(0x20, block);
    for (;;)
        ;
}

static void stopped(void) { end(255); }

static void print(uint32_t number)
{
    char text[12] = {0};
    int at = 10;
    text[at] = '\n';
    do
        text[--at] = (char)('0' + number % 10);
    while (number /= 10);
    ask(4, text + at);
}

/* All of the stack is marked before; main's frame is the last thing that is needed. */
void begin(void)
{
    uint32_t *at = bss_end;
    register uint32_t *top __asm__("sp");
    memcpy(data_to, data_from, (size_t)((char *)data_end - (char *)data_to));
    memset(bss_start, 0, (size_t)((char *)bss_end - (char *)bss_start));
    while (at < top - 16)
        *at++ = 0xa5a5a5a5;
    const int result = main();
    for (at = bss_end; at < stack_top && *at == 0xa5a5a5a5; at++)
        ;
    print((uint32_t)((char *)stack_top - (char *)at));
    end((uint32_t)result);
}
