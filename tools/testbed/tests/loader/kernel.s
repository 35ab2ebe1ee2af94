// An arm64 "kernel" (Documentation/arch/arm64/booting.rst) for tests of boot loaders: prints the command line that it
// finds in the device tree, from "root=" on, behind a >, and resets the machine as a panicking kernel does.
// Its words are in mod.rs: aarch64-linux-gnu-as kernel.s -o kernel.o; aarch64-linux-gnu-objcopy -O binary kernel.o kernel
    b start
    .word 0
    .quad 0                         // text_offset
    .quad 0x10000                   // image_size
    .quad 0xa                       // flags: little endian, 4 KiB pages, anywhere
    .quad 0, 0, 0
    .ascii "ARM\x64"
    .word 0
start:                              // x0: the device tree
    movz x1, #0x0900, lsl #16       // the serial port of the machine virt
1:  ldrb w3, [x0]
    cmp w3, #'r'
    b.ne 2f
    ldrb w3, [x0, #1]
    cmp w3, #'o'
    b.ne 2f
    ldrb w3, [x0, #3]
    cmp w3, #'t'
    b.ne 2f
    ldrb w3, [x0, #4]
    cmp w3, #'='
    b.eq 3f
2:  add x0, x0, #1
    b 1b
3:  movz w3, #'>'
    str w3, [x1]
4:  ldrb w3, [x0], #1
    cbz w3, 5f
    str w3, [x1]
    b 4b
5:  movz w3, #'\n'
    str w3, [x1]
    movz w0, #0x8400, lsl #16
    movk w0, #0x0009                // PSCI SYSTEM_RESET
    hvc #0
6:  b 6b
