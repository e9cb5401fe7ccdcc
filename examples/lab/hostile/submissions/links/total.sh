cat answer
