#include "mtt/runner/printable.hpp"

#include <cstdint>
#include <cstdio>
#include <sstream>

namespace mtt {

namespace {

struct Range {
    uint32_t first;
    uint32_t last;
};

/// Control characters, and what Unicode calls format characters, separators of lines, private use and unassigned marks.
constexpr Range unprintable[] = {
    {0x00, 0x1f}, {0x7f, 0x9f}, {0xad, 0xad}, {0x34f, 0x34f}, {0x600, 0x605}, {0x61c, 0x61c}, {0x6dd, 0x6dd},
    {0x70f, 0x70f}, {0x890, 0x891}, {0x8e2, 0x8e2}, {0x115f, 0x1160}, {0x17b4, 0x17b5}, {0x180b, 0x180f},
    {0x200b, 0x200f}, {0x2028, 0x202e}, {0x2060, 0x206f}, {0x3164, 0x3164}, {0xd800, 0xf8ff}, {0xfe00, 0xfe0f},
    {0xfeff, 0xfeff}, {0xffa0, 0xffa0}, {0xfff0, 0xfffb}, {0xfffe, 0xffff}, {0x110bd, 0x110cd}, {0x13430, 0x1345f},
    {0x1bca0, 0x1bca3}, {0x1d173, 0x1d17a}, {0xe0000, 0x10ffff},
};

bool is_printable(uint32_t character) {
    for (const auto& range : unprintable) {
        if (character >= range.first && character <= range.last) {
            return false;
        }
    }
    return true;
}

/// Length of the UTF-8 character at `at`, 0 if there is none; shortest forms only.
size_t decode(const std::string& text, size_t at, uint32_t& character) {
    const auto byte = [&](size_t k) { return uint8_t(text[at + k]); };
    const size_t length = byte(0) < 0x80 ? 1 : (byte(0) >> 5 == 6 ? 2 : (byte(0) >> 4 == 14 ? 3 : (byte(0) >> 3 == 30 ? 4 : 0)));
    if (length == 0 || at + length > text.size()) {
        return 0;
    }
    character = length == 1 ? byte(0) : byte(0) & (0x7fU >> length);
    for (size_t k = 1; k < length; ++k) {
        if (byte(k) >> 6 != 2) {
            return 0;
        }
        character = character << 6 | (byte(k) & 0x3fU);
    }
    constexpr uint32_t shortest[] = {0, 0, 0x80, 0x800, 0x10000};
    return character >= shortest[length] && character <= 0x10ffff ? length : 0;
}

std::string escape(const char* format, uint32_t value) {
    char out[16];
    std::snprintf(out, sizeof out, format, value);
    return out;
}

}  // namespace

std::string printable(const std::string& text) {
    std::string out;
    for (size_t at = 0; at < text.size();) {
        uint32_t character = 0;
        const size_t length = decode(text, at, character);
        if (length == 0) {
            out += escape("\\x%02x", uint8_t(text[at]));
            ++at;
            continue;
        }
        if (is_printable(character)) {
            out.append(text, at, length);
        } else {
            out += escape(character < 0x100 ? "\\x%02x" : (character < 0x10000 ? "\\u%04x" : "\\U%08x"), character);
        }
        at += length;
    }
    return out;
}

std::string without_commands(const std::string& lines) {
    std::string out;
    std::istringstream stream(lines);
    for (std::string line; std::getline(stream, line);) {
        // CI services skip the space before it.
        const size_t start = line.find_first_not_of(' ');
        if (start != std::string::npos && (line.compare(start, 2, "::") == 0 || line.compare(start, 3, "##[") == 0)) {
            line.insert(start, "\\");
        }
        out += line + "\n";
    }
    return out;
}

}  // namespace mtt
