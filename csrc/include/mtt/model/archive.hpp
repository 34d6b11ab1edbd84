// What can be learned from a model file before any of its code is loaded: kind, records, metadata, checksums.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace mtt {

enum class FileKind {
    metatomic,       ///< TorchScript archive with the metatomic records
    metatensor_era,  ///< exported before metatomic existed
    torchscript,     ///< TorchScript, but not for this interface
    pickle,          ///< torch.save or plain pickle: a training checkpoint
    mtt_checkpoint,  ///< safetensors
    zip,             ///< some other zip archive
    truncated,       ///< starts like a zip archive, has no end
    unknown
};

/// Short noun phrase for messages, for example "a TorchScript file without the metatomic interface".
std::string describe(FileKind kind);

/// The bytes of a model file, wherever they are read.
class ArchiveView {
public:
    virtual ~ArchiveView() = default;
    [[nodiscard]] virtual const std::string& path() const = 0;
    [[nodiscard]] virtual FileKind kind() const = 0;
    [[nodiscard]] virtual uint64_t bytes() const = 0;
    /// Names without the leading folder of the archive.
    [[nodiscard]] virtual std::vector<std::string> records() const = 0;
    [[nodiscard]] virtual bool has(const std::string& record) const = 0;
    /// @throws std::runtime_error if there is no such record or it cannot be unpacked
    [[nodiscard]] virtual std::string read(const std::string& record) const = 0;
    /// Checks the CRC-32 of every record, which libtorch itself does not do. Returns what is wrong.
    [[nodiscard]] virtual std::vector<std::string> damaged_records() const = 0;
};

class Archive final : public ArchiveView {
public:
    /// Looks at the file only as bytes. Never throws for bad contents, only if the file cannot be read.
    explicit Archive(std::string path);

    [[nodiscard]] const std::string& path() const override { return path_; }
    [[nodiscard]] FileKind kind() const override { return kind_; }
    [[nodiscard]] uint64_t bytes() const override { return bytes_; }
    [[nodiscard]] std::vector<std::string> records() const override;
    [[nodiscard]] bool has(const std::string& record) const override;
    [[nodiscard]] std::string read(const std::string& record) const override;
    [[nodiscard]] std::vector<std::string> damaged_records() const override;

    /// What makes it another archive for one reader than for another: several folders, a name that comes twice, headers
    /// that contradict each other, bytes that belong to no record. Empty for what libtorch writes.
    [[nodiscard]] const std::vector<std::string>& ambiguities() const { return ambiguities_; }

private:
    struct Entry {
        uint32_t crc;
        uint64_t size;
    };
    void read_directory(const std::string& content);

    std::string path_;
    FileKind kind_ = FileKind::unknown;
    uint64_t bytes_ = 0;
    std::map<std::string, Entry> entries_;
    std::vector<std::string> ambiguities_;
};

/// What is wrong with the list of extensions of a model: a name or path that leads out of the folder that a person
/// names. Empty if nothing is.
std::string extensions_problem(const std::string& json);

uint32_t crc32(const std::string& bytes);
std::string sha256_hex(const std::string& bytes);
std::string file_sha256(const std::string& path);

}  // namespace mtt
