#include "mtt/model/archive.hpp"
#include "mtt/model/memory_adapter.hpp"

#include <caffe2/serialize/inline_container.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <fstream>
#include <sstream>
#include <stdexcept>

namespace mtt {

namespace {

uint64_t little_endian(const std::string& bytes, size_t at, int width) {
    uint64_t out = 0;
    for (int k = 0; k < width; ++k) {
        out |= uint64_t(uint8_t(bytes.at(at + k))) << (8 * k);
    }
    return out;
}

/// Offset of the end-of-central-directory record, or npos. The comment after it may be up to 64 kB long.
size_t end_of_directory(const std::string& bytes) {
    const size_t at = bytes.rfind("PK\x05\x06");
    if (at == std::string::npos || at + 22 > bytes.size() || bytes.size() - at > 22 + 65535) {
        return std::string::npos;
    }
    return at;
}

/// The record that the entry of the directory at `at` describes. Sizes that do not fit are in an extra field.
DirectoryEntry directory_entry(const std::string& content, uint64_t at) {
    DirectoryEntry out;
    out.flags = uint16_t(little_endian(content, at + 8, 2));
    out.method = uint16_t(little_endian(content, at + 10, 2));
    out.crc = uint32_t(little_endian(content, at + 16, 4));
    out.packed = little_endian(content, at + 20, 4);
    out.size = little_endian(content, at + 24, 4);
    out.offset = little_endian(content, at + 42, 4);
    const uint64_t name_length = little_endian(content, at + 28, 2);
    const uint64_t extra_end = at + 46 + name_length + little_endian(content, at + 30, 2);
    out.name = content.substr(at + 46, name_length);
    for (uint64_t field = at + 46 + name_length; field + 4 <= extra_end;) {
        const uint64_t length = little_endian(content, field + 2, 2);
        if (little_endian(content, field, 2) == 1) {
            uint64_t value = field + 4;
            for (uint64_t* number : {&out.size, &out.packed, &out.offset}) {
                if (*number == 0xffffffff && value + 8 <= field + 4 + length) {
                    *number = little_endian(content, value, 8);
                    value += 8;
                }
            }
            break;
        }
        field += 4 + length;
    }
    return out;
}

}  // namespace

struct Archive::Reader {
    explicit Reader(std::shared_ptr<const std::string> content): stream(std::make_shared<MemoryAdapter>(content)) {}
    caffe2::serialize::PyTorchStreamReader stream;
};

Archive::Reader& Archive::reader() const {
    if (reader_ == nullptr) {
        reader_ = std::make_shared<Reader>(content_);
    }
    return *reader_;
}

uint64_t Archive::size_of(const std::string& record) const {
    const auto entry = entries_.find(record);
    return entry == entries_.end() ? 0 : entry->second.size;
}

std::string describe(FileKind kind) {
    switch (kind) {
        case FileKind::metatomic: return "a metatomic model";
        case FileKind::metatensor_era: return "a model exported before metatomic existed (metatensor records only)";
        case FileKind::torchscript: return "a TorchScript file without the metatomic interface";
        case FileKind::pickle: return "a pickled training checkpoint, not an exported model";
        case FileKind::mtt_checkpoint: return "a safetensors file such as an mtt checkpoint, not an exported model";
        case FileKind::zip: return "a zip archive that holds no TorchScript code";
        case FileKind::truncated: return "the first part of a model file whose end is missing";
        case FileKind::unknown: break;
    }
    return "not a TorchScript archive";
}

Archive::Archive(std::string path): path_(std::move(path)) {
    std::ifstream file(path_, std::ios::binary);
    if (!file) {
        throw std::runtime_error("can not open '" + path_ + "'");
    }
    std::ostringstream buffer;
    buffer << file.rdbuf();
    content_ = std::make_shared<const std::string>(std::move(buffer).str());
    const std::string& content = *content_;
    bytes_ = content.size();

    if (content.compare(0, 4, "PK\x03\x04") == 0) {
        read_directory(content);
    } else if (content.size() > 9 && content[8] == '{' && little_endian(content, 0, 8) <= content.size() - 8) {
        kind_ = FileKind::mtt_checkpoint;
    } else if (content.size() > 2 && content[0] == '\x80' && content[1] >= 2 && content[1] <= 5) {
        kind_ = FileKind::pickle;
    }
}

void Archive::read_directory(const std::string& content) {
    kind_ = FileKind::truncated;
    try {
        const size_t end = end_of_directory(content);
        if (end == std::string::npos) {
            return;
        }
        uint64_t count = little_endian(content, end + 10, 2);
        uint64_t at = little_endian(content, end + 16, 4);
        uint64_t behind = end;
        // Zip64: a locator before `end` points to a record with the real numbers. libtorch writes one always, and takes
        // it even where the numbers fit.
        if (end >= 20 && content.compare(end - 20, 4, "PK\x06\x07") == 0) {
            const uint64_t end64 = little_endian(content, end - 20 + 8, 8);
            const uint64_t count64 = little_endian(content, end64 + 32, 8);
            const uint64_t at64 = little_endian(content, end64 + 48, 8);
            ends_cleanly_ = end64 + 56 + 20 == end && content.compare(end64, 4, "PK\x06\x06") == 0 &&
                            (count == 0xffff || count == count64) && (at == 0xffffffff || at == at64);
            count = count64;
            at = at64;
            behind = end64;
        } else {
            ends_cleanly_ = true;
        }
        directory_offset_ = at;
        for (uint64_t k = 0; k < count; ++k) {
            if (content.compare(at, 4, "PK\x01\x02") != 0) {
                return;
            }
            const uint64_t name_length = little_endian(content, at + 28, 2);
            const uint64_t extra_length = little_endian(content, at + 30, 2);
            const auto entry = directory_entry(content, at);
            const size_t slash = entry.name.find('/');
            if (slash != std::string::npos && slash + 1 < entry.name.size()) {
                entries_[entry.name.substr(slash + 1)] = {entry.crc, entry.size};
            }
            directory_.push_back(entry);
            at += 46 + name_length + extra_length + little_endian(content, at + 32, 2);
        }
        ends_cleanly_ = ends_cleanly_ && at == behind && end + 22 == content.size();
    } catch (const std::out_of_range&) {
        return;
    }
    const bool code = has("constants.pkl");
    if (has("extra/metatomic-version")) {
        kind_ = FileKind::metatomic;
    } else if (has("extra/metatensor-version")) {
        kind_ = FileKind::metatensor_era;
    } else if (code) {
        kind_ = FileKind::torchscript;
    } else {
        kind_ = has("data.pkl") ? FileKind::pickle : FileKind::zip;
    }
}

std::vector<std::string> Archive::records() const {
    std::vector<std::string> out;
    for (const auto& [name, entry] : entries_) {
        out.push_back(name);
    }
    return out;
}

bool Archive::has(const std::string& record) const { return entries_.count(record) != 0; }

std::string Archive::read(const std::string& record) const {
    if (!has(record)) {
        throw std::runtime_error("no record '" + record + "' in '" + path_ + "'");
    }
    auto [data, size] = reader().stream.getRecord(record);
    return {static_cast<const char*>(data.get()), size};
}

std::vector<std::string> Archive::damaged_records() const {
    std::vector<std::string> out;
    for (const auto& [name, entry] : entries_) {
        try {
            auto [data, size] = reader().stream.getRecord(name);
            const std::string content(static_cast<const char*>(data.get()), size);
            if (crc32(content) != entry.crc) {
                out.push_back(name);
            }
        } catch (const std::exception&) {
            out.push_back(name);
        }
    }
    return out;
}

uint32_t crc32(const std::string& bytes) {
    static const auto table = [] {
        std::array<uint32_t, 256> out{};
        for (uint32_t n = 0; n < 256; ++n) {
            uint32_t c = n;
            for (int k = 0; k < 8; ++k) {
                c = (c & 1) != 0 ? 0xedb88320U ^ (c >> 1) : c >> 1;
            }
            out[n] = c;
        }
        return out;
    }();
    uint32_t c = 0xffffffffU;
    for (const char byte : bytes) {
        c = table[(c ^ uint8_t(byte)) & 0xff] ^ (c >> 8);
    }
    return c ^ 0xffffffffU;
}

}  // namespace mtt
